// Command calrun compares simulators of LLM serving with real engines.
package main

import (
	"os"

	"calrun/cmd/calrun/cli"
	"calrun/steps"
)

func main() { os.Exit(cli.Main(cli.System(), steps.Builtin()...)) }
