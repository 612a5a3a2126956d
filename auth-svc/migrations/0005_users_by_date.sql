-- For the list of users, newest first.
CREATE INDEX app_user_by_date ON app_user (create_date DESC, customer_id DESC);
