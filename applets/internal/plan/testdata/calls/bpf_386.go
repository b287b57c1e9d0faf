package main

const bpf = 357
