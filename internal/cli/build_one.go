// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
)

// oneKind checks what the first of several contexts does not show: that none of the
// others is plainly of another kind, or the name of an image. Files may be
// anything.
func oneKind(fronts []frontend, f frontend, list []string) error {
	for _, other := range list[min(1, len(list)):] {
		if imageName.MatchString(other) {
			if _, err := os.Lstat(other[:strings.LastIndex(other, ":")]); err != nil {
				return fmt.Errorf("%s looks like the name of an image: did you mean -t %s?", oci.Quote(other), other)
			}
		}
		if _, any := f.(*filesFront); any || f.takes(other) {
			continue
		}
		for _, x := range fronts {
			if x.takes(other) {
				return fmt.Errorf("%s would be built as %s, and %s as %s: give each a command of its own, or write a %s", other, nameOf(x), list[0], nameOf(f), spec.Name)
			}
		}
	}
	return nil
}

// imageName is what a reference with host and tag looks like.
var imageName = regexp.MustCompile(`^(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9-]+:[0-9]+)(:[0-9]+)?/[a-z0-9._/-]+:[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
