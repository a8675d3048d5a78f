// Nothing that virtctl is built of; module proxies do not have it any more.
module vbom.ml/util
