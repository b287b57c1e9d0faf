package archive

// withoutOpenat2 makes Dir do as on a kernel that lacks openat2(2), until it is told to stop.
func withoutOpenat2() (stop func()) {
	noOpenat2.Store(true)
	return func() { noOpenat2.Store(false) }
}
