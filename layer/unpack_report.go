// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Report is what Unpack made, and what it had to leave out.
type Report struct {
	Directories int   `json:"directories"`
	Files       int   `json:"files"`
	Symlinks    int   `json:"symlinks"`
	HardLinks   int   `json:"hardLinks"` // names beyond the first
	Devices     int   `json:"devices"`   // and fifos
	Bytes       int64 `json:"bytes"`

	SkippedDevices int `json:"skippedDevices"` // that were not made: not root, or no such device
	SkippedXattrs  int `json:"skippedXattrs"`  // extended attributes
	SkippedOwners  int `json:"skippedOwners"`  // files that belong to the caller and not to whom the image says
	MaskedModes    int `json:"maskedModes"`    // files without the set-user-ID or set-group-ID bit they had
}

// Notes are lines for a person about what was left out.
func (r *Report) Notes() []string {
	var out []string
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			out = append(out, "1 "+one)
		case n > 1:
			out = append(out, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(r.SkippedOwners, "file belongs to you, not to its owner in the image", "files belong to you, not to their owners in the image")
	add(r.MaskedModes, "file lost its set-user-ID or set-group-ID bit", "files lost their set-user-ID or set-group-ID bits")
	add(r.SkippedDevices, "device or fifo was not made", "devices or fifos were not made")
	add(r.SkippedXattrs, "extended attribute was not set", "extended attributes were not set")
	return out
}

// windowsName says why Windows would not keep a name as it is (row of devices,
// streams, short forms; "Naming Files, Paths, and Namespaces").
func windowsName(base string) error {
	bad := func(why string) error { return oci.Errorf(oci.ErrInvalid, "unsafe path: on Windows %s", why) }
	for _, c := range base {
		if c < ' ' || strings.ContainsRune(`<>:"\|?*`, c) {
			return bad(fmt.Sprintf("a name cannot have %q", c))
		}
	}
	if strings.HasSuffix(base, ".") || strings.HasSuffix(base, " ") {
		return bad("a name cannot end with a dot or space")
	}
	stem, _, _ := strings.Cut(strings.ToUpper(base), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return bad("it is a device")
	}
	if s, ok := strings.CutPrefix(stem, "COM"); ok && isPort(s) {
		return bad("it is a device")
	}
	if s, ok := strings.CutPrefix(stem, "LPT"); ok && isPort(s) {
		return bad("it is a device")
	}
	return nil
}

func isPort(s string) bool {
	switch s {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}
