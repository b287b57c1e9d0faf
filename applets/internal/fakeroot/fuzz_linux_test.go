package fakeroot

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/fuzztest"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// Who answers at FAKEROOTKEY may be anybody: the answer is about the file that was asked for, with an owner and a type that a file
// can have, or it is an error.
func FuzzDaemon(f *testing.F) {
	st := archive.Stat{Mode: 0o100644, Ino: 7, Dev: 0x801, Nlink: 1}
	good := append([]byte{0, 0, 0, statFunc}, question(&st)...)
	turn(good[4:])
	f.Add(good)
	f.Add(append(bytes.Clone(good), "more"...))
	for at := 4; at < 4+statLen; at += 4 {
		bad := bytes.Clone(good)
		copy(bad[at:], "\xff\xff\xff\xff")
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) < 4+bodyLen {
			return // TestLiveTCPTrouble has those
		}
		fuzztest.Bounded(t, len(answer), 0, 1, func() {
			m := bytes.Clone(answer[4 : 4+bodyLen])
			turn(m)
			e, err := reply(m, &st)
			if err != nil {
				return
			}
			if !bytes.Equal(answer[4+8:4+24], good[4+8:4+24]) || e.uid == 1<<32-1 || e.gid == 1<<32-1 || strings.HasPrefix(list.TypeName(e.mode), "of unknown") {
				t.Errorf("%x is %+v", answer, e)
			}
			now := st
			e.fake([]byte("./f"), &now, &Context{Warn: func(error) {}})
			if now.Ino != st.Ino || now.Dev != st.Dev || now.Size != st.Size || now.UID == 1<<32-1 {
				t.Errorf("%+v became %+v", st, now)
			}
		})
	})
}
