import hmac
import random
import secrets

import jwt
import structlog

log = structlog.stdlib.get_logger(__name__)


def draw():
    token = "".join(random.choices("abcdef", k=20))  # found: a-secret-is-drawn-by-secrets
    reset = Reset(code=random.randint(0, 10**6))  # found: a-secret-is-drawn-by-secrets
    api_key = secrets.token_urlsafe(32)  # passed: a-secret-is-drawn-by-secrets
    delay = random.uniform(0, 1)  # passed: a-secret-is-drawn-by-secrets
    return token, reset, api_key, delay


def compare(given, session, token_hash, password):
    if given == session.refresh_digest:  # found: a-secret-is-compared-in-constant-time
        return True
    if token_hash != given:  # found: a-secret-is-compared-in-constant-time
        return False
    if password == None:  # passed: a-secret-is-compared-in-constant-time
        return False
    if given.prompt_tokens == 0:  # passed: a-secret-is-compared-in-constant-time
        return False
    return hmac.compare_digest(given, token_hash)  # passed: a-secret-is-compared-in-constant-time


def tell(token, user, settings, prompt_tokens):
    log.info("logged_in", token=token)  # found: a-secret-is-not-logged
    log.warning("refused", given=user.password)  # found: a-secret-is-not-logged
    log.info(f"key is {settings.api_key}")  # found: a-secret-is-not-logged
    log.info("logged_in", user_id=user.id, prompt_tokens=prompt_tokens)  # passed: a-secret-is-not-logged


def believe(token, key, algorithm):
    jwt.decode(token, key)  # found: a-token-names-its-algorithms
    jwt.decode(token, key, algorithms=["EdDSA"], options={"verify_signature": False})  # found: a-token-names-its-algorithms
    jwt.decode(token, key, algorithms=["HS256", "none"])  # found: a-token-names-its-algorithms
    jwt.decode(token, key, algorithms=["EdDSA"])  # passed: a-token-names-its-algorithms
