package main

const bpf = 386
