package pipeline

import "github.com/rs/zerolog"

var nolog = zerolog.Nop()
