// Command my-calrun is calrun with one more kind.
package main

import (
	"os"

	"calrun/cmd/calrun/cli"
	"calrun/steps"
)

func main() { os.Exit(cli.Main(cli.System(), append(steps.Builtin(), settleKind)...)) }
