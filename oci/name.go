// SPDX-License-Identifier: Apache-2.0

package oci

import "regexp"

var (
	repositoryForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// IsRepository reports whether s can be the name of a repository within a
// registry (distribution-spec, "Pulling manifests"); names of more than 255
// bytes cannot.
func IsRepository(s string) bool { return len(s) <= 255 && repositoryForm.MatchString(s) }

// IsTag reports whether s can be a tag (distribution-spec, "Pulling
// manifests").
func IsTag(s string) bool { return tagForm.MatchString(s) }
