// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dray-tools/dray/oci"
)

const maxWindowsName = 255 // UTF-16 units

// checkWindowsName refuses paths that Windows reads as something else, or not
// at all.
func checkWindowsName(name string) error {
	for c := range strings.SplitSeq(name, "/") {
		if why := notInWindows(c); why != "" {
			return oci.Errorf(oci.ErrInvalid, "%s is no name in Windows: %s", oci.Quote(c), why)
		}
	}
	return nil
}

func notInWindows(c string) string {
	switch {
	case !utf8.ValidString(c):
		return "it is not UTF-8"
	case strings.ContainsAny(c, `<>:"\|?*`):
		return `one of < > : " \ | ? * is in it`
	case strings.ContainsFunc(c, func(r rune) bool { return r < ' ' }):
		return "a control character is in it"
	case strings.HasSuffix(c, ".") || strings.HasSuffix(c, " "):
		return "it ends with a dot or a space"
	case len(c) > maxWindowsName && len(utf16.Encode([]rune(c))) > maxWindowsName:
		return "it is too long"
	}
	stem, _, _ := strings.Cut(c, ".")
	if isDevice(strings.ToUpper(strings.TrimRight(stem, " "))) {
		return "it is that of a device"
	}
	return ""
}

// isDevice reports whether a name means a device in every directory.
func isDevice(s string) bool {
	switch s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(s, "COM")
	if !ok {
		port, ok = strings.CutPrefix(s, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains("123456789¹²³", port)
}
