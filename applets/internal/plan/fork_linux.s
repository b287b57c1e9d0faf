// Empty: it lets fork_linux.go declare functions of package syscall without a body.
