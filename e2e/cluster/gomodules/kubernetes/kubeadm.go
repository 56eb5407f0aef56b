//go:build tools

package main

// Keeps kubeadm's packages in this module; the command itself is built as k8s.io/kubernetes/cmd/kubeadm.
import _ "k8s.io/kubernetes/cmd/kubeadm/app"
