"""Every secret that the suite has sent or been given, so that the logs can be searched for all of them (test_words.py).

conftest.py brings every answer of `requests` here, whoever asked.
"""
import json
import subprocess
import tempfile

MEMBERS = {"password", "currentPassword", "newPassword", "refreshToken", "accessToken"}
# Shorter ones are words that a log may say for other reasons.
SECRET_MIN, IBAN_MIN = 12, 15
secrets, ibans = set(), set()


def _note_members(text):
    try:
        body = json.loads(text or b"null")
    except (ValueError, RecursionError):
        return
    for name, value in body.items() if isinstance(body, dict) else ():
        if name in MEMBERS and isinstance(value, str) and len(value) >= SECRET_MIN:
            secrets.add(value)
        if name == "iban" and isinstance(value, str) and len(squeezed(value)) >= IBAN_MIN:
            ibans.add(squeezed(value))


def note(answer):
    _note_members(answer.request.body)
    _note_members(answer.content)
    token = answer.request.headers.get("Authorization", "").rpartition(" ")[2]
    if token.startswith("eyJ"):
        secrets.add(token)


def squeezed(text):
    return text.replace(" ", "").upper()


def found_in(text, wanted):
    """Those of `wanted` that stand in the text, a few at most; grep looks for thousands at once."""
    wanted = {w for w in wanted if "\n" not in w and "\0" not in w}
    if not wanted:
        return []
    with tempfile.NamedTemporaryFile("w", errors="surrogatepass") as patterns:
        patterns.write("\n".join(wanted) + "\n")
        patterns.flush()
        done = subprocess.run(["grep", "-aoF", "-m5", "-f", patterns.name], input=text.encode(errors="replace"),
                              stdout=subprocess.PIPE, env={"LC_ALL": "C"})
    assert done.returncode in (0, 1), done.returncode
    return done.stdout.decode(errors="replace").splitlines()
