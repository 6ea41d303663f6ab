// SPDX-License-Identifier: Apache-2.0

package golang

import "github.com/dray-tools/dray/oci"

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
