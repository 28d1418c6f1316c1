// Package steps holds calrun's kinds, one file each: the only place where the
// runner (package pipeline) and the matter (packages below internal) meet.
// [Builtin] lists them.
package steps
