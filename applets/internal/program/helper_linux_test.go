package program

import (
	"os/exec"
	"testing"
	"time"
)

func TestHelper(t *testing.T) {
	h, err := Start(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Ended:
		t.Error("ended by itself")
	default:
	}
	h.Kill()
	select {
	case <-h.Ended:
	case <-time.After(10 * time.Second):
		t.Fatal("lives on")
	}
	if h.Cmd.ProcessState.Success() {
		t.Error(h.Cmd.ProcessState)
	}
	h.Kill() // of what has ended: nobody else's number is signalled
	if h, err := Start(exec.Command("/nonexistent/program")); err == nil || h != nil {
		t.Error(h, err)
	}
}
