"""The lists of secret names of hpoq and of the local cloud, which may not import it, cover the same names."""

import pytest
from pydantic import BaseModel, SecretStr

from alilocal.core.secretnames import is_secret_name as is_hidden
from hpoq.contract import model as contract
from hpoq.observability.redaction import is_secret_name

NAMES = (
    "secret password passwd pwd token credential credentials authorization access_key accesskey access-key",
    "access_id accessid api_key apikey private_key passphrase signature webhook accessKeySecret",
    "access_key_secret accessKeyID access_key_id x-acs-security-token Proxy-Authorization ak sk sig",
    "pass DB_PASS passcode cookie Set-Cookie auth X-Auth-Key jwt otp AccountKey encryption_key master_key shared_key",
    "signing-key aes_key",
)


@pytest.mark.parametrize("name", " ".join(NAMES).split())
@pytest.mark.parametrize("is_secret", [is_secret_name, is_hidden])
def test_both_lists_know_a_name(is_secret, name):
    """What one of them hides, the other hides too."""
    assert is_secret(name)
    assert is_secret(name.upper())


def fields():
    """Each member of the contract's configuration: its section, its name, and whether it is a credential."""
    models = [
        model for model in vars(contract).values() if isinstance(model, type) and issubclass(model, BaseModel)
    ]
    sections = {
        str(field.annotation): name for name, field in contract.HpoExperimentConfig.model_fields.items()
    }
    for model in models:
        section = next((name for kind, name in sections.items() if f".{model.__name__} " in kind), "")
        for name, field in model.model_fields.items():
            yield section, field.alias or name, SecretStr in getattr(field.annotation, "__args__", ())


@pytest.mark.parametrize(("section", "name", "is_credential"), sorted(set(fields())))
def test_the_list_agrees_with_the_contract(section, name, is_credential):
    """A member of the contract is a credential there if and only if its name is on the list."""
    assert is_secret_name(name, section) == is_credential
    if is_credential:
        assert is_hidden(name)
