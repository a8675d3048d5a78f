//go:build tools

// Package tools names what is built of these modules (tests/cluster/programs.py).
package tools

import _ "kubevirt.io/kubevirt/cmd/virtctl"
