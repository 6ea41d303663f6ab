// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Mode changes permissions as chmod does. The zero value leaves them alone.
type Mode struct {
	text  string
	steps []modeStep
}

// String is what ParseMode reads.
func (m Mode) String() string { return m.text }

// A modeStep is one change, for those whose bits who has.
type modeStep struct {
	who  int64 // a mask of all bits that may change
	op   byte  // + - =
	bits int64
	exec bool // X: x for directories and what somebody may execute already
	of   byte // u, g or o: what they have; 0: nobody
}

// ParseMode reads the modes of chmod: octal (0644), which is for files and
// directories alike, or symbolic (u=rwX,go=rX), where nobody's umask counts.
// ErrInvalid for anything else; "" is the zero value.
func ParseMode(s string) (Mode, error) {
	m := Mode{text: s}
	if s == "" {
		return m, nil
	}
	if s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseUint(s, 8, 12)
		if err != nil {
			return Mode{}, badMode(s)
		}
		m.steps = []modeStep{{who: 0o7777, op: '=', bits: int64(n)}}
		return m, nil
	}
	for clause := range strings.SplitSeq(s, ",") {
		actions := strings.TrimLeft(clause, "ugoa")
		who := whoMask(clause[:len(clause)-len(actions)])
		if actions == "" {
			return Mode{}, badMode(s)
		}
		for actions != "" {
			step, rest, ok := parseStep(actions, who)
			if !ok {
				return Mode{}, badMode(s)
			}
			m.steps = append(m.steps, step)
			actions = rest
		}
	}
	return m, nil
}

func badMode(s string) error {
	return oci.Errorf(oci.ErrInvalid, "mode %s: neither octal (0644) nor symbolic (u=rwX,go=rX)", oci.Quote(s))
}

// whoMask is of the bits that the letters speak of.
func whoMask(letters string) (mask int64) {
	if letters == "" {
		letters = "a"
	}
	for _, c := range letters {
		switch c {
		case 'u':
			mask |= 0o4700
		case 'g':
			mask |= 0o2070
		case 'o':
			mask |= 0o1007
		case 'a':
			mask |= 0o7777
		}
	}
	return mask
}

// parseStep reads an operator and what it is about.
func parseStep(s string, who int64) (step modeStep, rest string, ok bool) {
	step = modeStep{who: who, op: s[0]}
	if !strings.Contains("+-=", s[:1]) {
		return step, "", false
	}
	s = s[1:]
	if s != "" && strings.Contains("ugo", s[:1]) {
		step.of = s[0]
		return step, s[1:], true
	}
	rest = strings.TrimLeft(s, "rwxXst")
	for _, c := range s[:len(s)-len(rest)] {
		switch c {
		case 'r':
			step.bits |= 0o444
		case 'w':
			step.bits |= 0o222
		case 'x':
			step.bits |= 0o111
		case 'X':
			step.exec = true
		case 's':
			step.bits |= 0o6000
		case 't':
			step.bits |= 0o1000
		}
	}
	return step, rest, true
}

// Apply changes a mode: its permissions, setuid, setgid and sticky bits.
func (m Mode) Apply(mode int64, dir bool) int64 {
	for _, s := range m.steps {
		bits := s.bits
		if s.exec && (dir || mode&0o111 != 0) {
			bits |= 0o111
		}
		if shift, ok := map[byte]int{'u': 6, 'g': 3, 'o': 0}[s.of]; ok {
			bits |= mode >> shift & 7 * 0o111
		}
		switch bits &= s.who; s.op {
		case '+':
			mode |= bits
		case '-':
			mode &^= bits
		default:
			mode = mode&^s.who | bits
		}
	}
	return mode
}
