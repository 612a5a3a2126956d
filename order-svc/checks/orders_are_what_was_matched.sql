-- what: an order is matched up to its size and not beyond: it is MATCHED when all of it is, NEW and REJECTED when nothing is
SELECT id, status, size, house_size + clearing_size AS matched FROM orders
WHERE update_date >= $1::timestamptz
  AND (house_size + clearing_size > size OR least(house_size, house_value, clearing_size, clearing_value) < 0
       OR (status = 'MATCHED') <> (house_size + clearing_size = size)
       OR (status IN ('NEW', 'REJECTED') AND house_size + clearing_size + house_value + clearing_value <> 0)
       OR (house_size > 0) <> (house_value > 0) OR (clearing_size > 0) <> (clearing_value > 0))
ORDER BY 1 LIMIT 20;
