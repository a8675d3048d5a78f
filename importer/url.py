"""What a user calls a URL, as it goes over the wire."""

from urllib.parse import SplitResult, quote, urlsplit

from diskyard.errors import InvalidRequest


def parsed(url: str) -> SplitResult:
    """An http or https URL in its parts, all of them ASCII (RFC 3987 §3.1). Raises InvalidRequest."""
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise InvalidRequest(f"the URL {url!r} has blanks or control characters in it: encode them (%20)")
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")
        user, at, place = parts.netloc.rpartition("@")
        host, colon, port = place.partition(":")
        netloc = place if place.isascii() else f"{host.encode('idna').decode()}{colon}{port}"
        parts = parts._replace(
            netloc=f"{_encoded(user)}{at}{netloc}", path=_encoded(parts.path), query=_encoded(parts.query)
        )
    except ValueError as error:
        raise InvalidRequest(f"Invalid source URL: {url}: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise InvalidRequest(f"Invalid source URL scheme: {url}: expected http:// or https://")
    if not parts.hostname:
        raise InvalidRequest(f"Invalid source URL: {url}: it names no host")
    return parts


def _encoded(text: str) -> str:
    """With what is not ASCII in UTF-8, percent-encoded."""
    return "".join(each if each.isascii() else quote(each) for each in text)
