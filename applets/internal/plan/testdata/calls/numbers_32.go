//go:build 386 || arm

package main

const high = 0
