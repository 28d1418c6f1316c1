// Command my-calrun is calrun with one more kind.
package main

import (
	"calrun/cmd/calrun/cli"
	"calrun/steps"
	"os"
)

func main() { os.Exit(cli.Main(cli.System(), append(steps.Builtin(), settleKind)...)) }
