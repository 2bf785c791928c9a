"""The lists of secret names of hpoq and of the local cloud, which may not import it, cover the same names."""

from pydantic import BaseModel, SecretStr

from alilocal.core.secretnames import is_secret_name as is_hidden
from hpoq.contract import model as contract
from hpoq.observability.secret_names import is_secret_name

NAMES = (
    "secret password passwd pwd token credential credentials authorization access_key accesskey access-key",
    "access_id accessid api_key apikey private_key passphrase signature webhook accessKeySecret",
    "access_key_secret accessKeyID access_key_id x-acs-security-token Proxy-Authorization ak sk sig",
    "pass DB_PASS passcode cookie Set-Cookie auth X-Auth-Key jwt otp AccountKey encryption_key master_key shared_key",
    "signing-key aes_key",
)


def test_both_lists_know_a_name():
    """What one of them hides, the other hides too."""
    names = " ".join(NAMES)
    for is_secret in (is_secret_name, is_hidden):
        assert [name for name in f"{names} {names.upper()}".split() if not is_secret(name)] == []


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


def test_the_list_agrees_with_the_contract():
    """A member of the contract is a credential there if and only if its name is on the list."""
    every = set(fields())
    assert len(every) > 50
    assert {one for one in every if is_secret_name(one[1], one[0]) != one[2]} == set()
    assert {name for _, name, is_credential in every if is_credential and not is_hidden(name)} == set()
