package applets

import (
	"os"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/wire"
)

// rdinit is the first process of runkvm's guests, and of a machine that boots an initrd which mkinitrd gave it to. Typed by
// hand it only says so.
var rdinit = cli.Applet{
	Name:    "rdinit",
	Brief:   "be the first process of a guest",
	Example: "ctbox mkinitrd --rdinit=self -C dir -o x.initrd <x.list",
	Manual:  "runkvm",
	New:     func() cli.Command { return new(rdinitCommand) },
}

type rdinitCommand struct{}

func (c *rdinitCommand) Run(cli.Stdio) error {
	return cli.Hint(cli.Usagef("this is not the first process of a machine"), "\"ctbox runkvm\" starts one")
}

// isInit says whether the kernel started this process, under the name that its "rdinit=" has.
func isInit(args []string) bool {
	return os.Getpid() == 1 && len(args) > 0 && (args[0] == wire.OwnInit || args[0] == wire.AddedInit)
}
