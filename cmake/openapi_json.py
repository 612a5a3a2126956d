"""openapi_json.py IN OUT: the contract as JSON, for the gateway to embed. The same bytes from the same YAML."""
import json
import sys

try:
    import yaml
except ImportError:
    sys.exit("python3-yaml is not installed: 'make deps' installs it, then build again")

with open(sys.argv[1], encoding="utf-8") as f:
    contract = yaml.safe_load(f)
with open(sys.argv[2], "w", encoding="utf-8") as f:
    json.dump(contract, f, ensure_ascii=False, separators=(",", ":"))
