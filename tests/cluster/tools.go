//go:build tools

// Package apiserver names what tests/support/install-apiserver.sh builds.
package apiserver

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
