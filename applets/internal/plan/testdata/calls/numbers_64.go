//go:build amd64 || arm64

package main

const high = 1 << 40
