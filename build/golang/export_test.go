// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"runtime/debug"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// Names of the package that its tests need.
var (
	CleanRemote = cleanRemote
	Fill        = fill
	Told        = told
	Variables   = func(p oci.Platform) ([]string, error) { return variables(p) }
)

// Capabilities encodes clauses.
func Capabilities(clauses ...string) (string, error) {
	return (&program{Program: &Program{}, o: &Options{Capabilities: clauses}}).capabilities()
}

// ParseConfig parses what a file says.
func ParseConfig(raw []byte) (Config, error) {
	c := Config{Path: ".ko.yaml", Overrides: map[string]string{}}
	return c, c.parse(raw)
}

// Components are those of a program with this build information.
func Components(info *debug.BuildInfo) ([]build.Component, []build.Material) {
	m := &made{name: "app", info: info}
	return m.components(false), m.materials()
}

// ToldFlags are flags as the description of a build has them.
func ToldFlags(flags []string) []string { return words{flags: flags, untoldFlags: true}.toldFlags() }
