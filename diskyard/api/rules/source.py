"""What `spec.source` of a DataVolume must look like, source by source. The texts are CDI's: its clients read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from diskyard.api import checksum
from diskyard.api.meta import Obj
from diskyard.api.origin import present
from diskyard.errors import Cause, InvalidRequest

SCHEMES: Final = ("http", "https", "gs")
REGISTRY_SCHEMES: Final = ("docker", "oci-archive")
FIELD: Final = "spec.source"


def source_causes(source: Obj, content_type: str) -> Sequence[Cause]:
    """What is wrong with a source; nothing: it is well."""
    found = present(source)
    if not found:
        return (Cause("Missing Data volume source", FIELD),)
    if len(found) > 1:
        return (Cause(f"Multiple Data volume sources: {', '.join(found)}; keep one of them", FIELD),)
    kind = found[0]
    return next(
        (causes for rule in _RULES.get(kind, ()) if (causes := rule(kind, source[kind], content_type))), ()
    )


def _url(kind: str, said: Mapping[str, Any], _: str) -> Sequence[Cause]:
    field, url = f"{FIELD}.{kind}.url", str(said.get("url") or "")
    if not url:
        return (Cause(f"{FIELD} source URL is empty", field),)
    scheme = _scheme(url)
    if scheme is None:
        return (Cause(f"{FIELD} Invalid source URL: {url}", field),)
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        return (Cause(f"{FIELD} Invalid source URL scheme: {url}; expected one of {known}", field),)
    return ()


def _scheme(url: str) -> str | None:
    """The URL's scheme; None where it is not a URL with a host and, if any, a real port."""
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    if not parts.scheme:
        return None
    return None if parts.scheme in SCHEMES and not parts.hostname else parts.scheme


def _sum(kind: str, said: Mapping[str, Any], _: str) -> Sequence[Cause]:
    text = str(said.get("checksum") or "")
    if not text:
        return ()
    try:
        checksum.parse(text)
    except InvalidRequest as wrong:
        return (Cause(f"Invalid checksum format: {wrong}", f"{FIELD}.{kind}.checksum"),)
    return ()


def _no_archive(kind: str, _: Mapping[str, Any], content_type: str) -> Sequence[Cause]:
    if content_type != "archive":
        return ()
    return (Cause(f"SourceType cannot be {kind} and the contentType be archive", f"{FIELD}.{kind}"),)


def _registry(kind: str, said: Mapping[str, Any], content_type: str) -> Sequence[Cause]:
    field = f"{FIELD}.{kind}"
    url, stream, method = said.get("url"), said.get("imageStream"), str(said.get("pullMethod") or "")
    if content_type not in ("", "kubevirt"):
        return (Cause("ContentType must be kubevirt when Source is Registry", "spec.contentType"),)
    if (url is None) == (stream is None):
        return (Cause("Source registry should have either URL or ImageStream", field),)
    if url is not None:
        scheme = _scheme(str(url))
        if scheme is None:
            return (Cause(f"Illegal registry source URL {url}", f"{field}.url"),)
        if scheme not in REGISTRY_SCHEMES:
            return (Cause(f"Illegal registry source URL scheme {url}", f"{field}.url"),)
    if method not in ("", "pod", "node"):
        return (Cause(f'ImportMethod {method} is neither pod, node or ""', f"{field}.pullMethod"),)
    if stream == "":
        return (Cause("Source registry ImageStream is not valid", f"{field}.imageStream"),)
    if stream is not None and method != "node":
        message = "Source registry ImageStream is supported only with node pull import method"
        return (Cause(message, f"{field}.pullMethod"),)
    return ()


def _imageio(kind: str, said: Mapping[str, Any], _: str) -> Sequence[Cause]:
    field = f"{FIELD}.{kind}"
    if not (said.get("secretRef") and said.get("diskId")):
        return (Cause(f"{FIELD}.Imageio source Imageio is not valid", field),)
    if not (said.get("certConfigMap") or said.get("insecureSkipVerify")):
        message = f"{FIELD}.Imageio source Imageio requires CertConfigMap or InsecureSkipVerify"
        return (Cause(message, field),)
    return ()


def _all_of(text: str, *names: str) -> "Rule":
    """A rule: every one of these entries is there."""

    def rule(kind: str, said: Mapping[str, Any], _: str) -> Sequence[Cause]:
        missing = [name for name in names if not said.get(name)]
        return (Cause(text, f"{FIELD}.{kind}.{missing[0]}"),) if missing else ()

    return rule


Rule = Callable[[str, Mapping[str, Any], str], Sequence[Cause]]

_RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "http": (_url, _sum),
    "s3": (_url,),
    "gcs": (_url,),
    "blank": (_no_archive,),
    "registry": (_registry,),
    "imageio": (_url, _imageio),
    "vddk": (
        _url,
        _all_of(f"{FIELD}.VDDK source VDDK is not valid", "secretRef", "uuid", "backingFile", "thumbprint"),
    ),
    "pvc": (_all_of(f"{FIELD}.PVC source PVC is not valid", "namespace", "name"),),
    "snapshot": (_all_of(f"{FIELD}.Snapshot source snapshot is not valid", "namespace", "name"),),
}
