// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// signals are the names of Linux's signals (signal(7)); realTime are those that
// have no name of their own.
var (
	signals = strings.Fields("HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU " +
		"URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS UNUSED RTMIN RTMAX")
	realTime = regexp.MustCompile(`^RTM(IN\+([1-9]|1[0-5])|AX-([1-9]|1[0-4]))$`)
)

// isSignal reports whether a text is a signal: a number, or a name with or
// without SIG, in any case.
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0 && n <= 64
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	return slices.Contains(signals, name) || realTime.MatchString(name)
}
