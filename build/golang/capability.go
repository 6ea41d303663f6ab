// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// capabilityNames are those of capabilities(7), in the order of their numbers.
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid
	setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner
	sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice
	sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap
	mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

// fileCapabilities are those of a file: what a process may have, what it hands
// down, and what it has at once. The last is one bit in the file for all.
type fileCapabilities struct{ permitted, inheritable, effective uint64 }

// capabilities are those of the program's file; "": none.
func (x *program) capabilities() (string, error) {
	var c fileCapabilities
	for _, t := range x.terms() {
		for _, clause := range strings.Fields(t) {
			if err := c.add(clause); err != nil {
				return "", oci.Errorf(oci.ErrInvalid, "capabilities %s: %w", oci.Quote(clause), err)
			}
		}
	}
	return c.encode(), nil
}

// terms are the capabilities as the user wrote them.
func (x *program) terms() []string {
	if x.o.Capabilities == nil && x.entry != nil {
		return x.entry.Caps
	}
	return x.o.Capabilities
}

// add adds a name, which is permitted then, or a clause of cap_from_text(3), as
// cap_net_raw,cap_kill=ep.
func (c *fileCapabilities) add(clause string) error {
	n := strings.IndexAny(clause, "+-=")
	if n < 0 {
		mask, err := parseCapabilities(clause)
		c.permitted |= mask
		return err
	}
	names, actions := clause[:n], clause[n:]
	if names == "" && actions[0] == '=' {
		names = "all"
	}
	mask, err := parseCapabilities(names)
	if err != nil {
		return err
	}
	for actions != "" {
		op := actions[0]
		flags := actions[1:]
		if end := strings.IndexAny(flags, "+-="); end >= 0 {
			flags = flags[:end]
		}
		actions = actions[1+len(flags):]
		if err := c.act(op, flags, mask); err != nil {
			return err
		}
	}
	return nil
}

func (c *fileCapabilities) act(op byte, flags string, mask uint64) error {
	sets := map[rune]*uint64{'p': &c.permitted, 'i': &c.inheritable, 'e': &c.effective}
	if op == '=' {
		for _, s := range sets {
			*s &^= mask
		}
	}
	for _, f := range flags {
		s := sets[f]
		if s == nil {
			return oci.Errorf(oci.ErrInvalid, "%q is none of e, i and p", f)
		}
		if op == '-' {
			*s &^= mask
		} else {
			*s |= mask
		}
	}
	return nil
}

// parseCapabilities reads names with commas between, as net_raw, CAP_NET_RAW, all
// or 42.
func parseCapabilities(names string) (mask uint64, err error) {
	for _, name := range strings.Split(names, ",") {
		bit := -1
		for n, s := range capabilityNames {
			if s == strings.TrimPrefix(strings.ToLower(name), "cap_") {
				bit = n
			}
		}
		if n, err := strconv.ParseUint(name, 10, 6); err == nil {
			bit = int(n)
		}
		switch {
		case strings.EqualFold(name, "all"):
			mask |= 1<<len(capabilityNames) - 1
		case bit < 0:
			return 0, oci.Errorf(oci.ErrInvalid, "there is no capability %s", oci.Quote(name))
		default:
			mask |= 1 << bit
		}
	}
	return mask, nil
}

// encode is the attribute security.capability of a file (linux/capability.h, struct
// vfs_cap_data, revision 2); "" for none.
func (c fileCapabilities) encode() string {
	if c.permitted|c.inheritable == 0 {
		return ""
	}
	const revision2, effective = 0x02000000, 1
	magic := uint32(revision2)
	if c.effective != 0 {
		magic |= effective
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	for _, shift := range []int{0, 32} {
		b = binary.LittleEndian.AppendUint32(b, uint32(c.permitted>>shift))
		b = binary.LittleEndian.AppendUint32(b, uint32(c.inheritable>>shift))
	}
	return string(b)
}
