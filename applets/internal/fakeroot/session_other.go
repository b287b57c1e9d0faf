//go:build !linux

package fakeroot

// Run needs Linux, where one can become the parent of the daemon (prctl(2)).
func (s *Session) Run() (status int, err error) { return 0, ErrNoFakeroot }
