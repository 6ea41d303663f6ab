// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"net"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// ports are the keys of a config for what EXPOSE has: [[IP:]HOST:]PORT[-PORT][/PROTOCOL].
// What an address and a port of the host would mean nobody knows; they are only
// checked, as BuildKit does. odd: there are some.
func ports(spec string) (list []string, odd bool, err error) {
	bad := func(why string) ([]string, bool, error) {
		return nil, false, oci.Errorf(oci.ErrInvalid, "EXPOSE %s: %s", oci.Quote(spec), why)
	}
	rest := strings.Split(spec, ":")
	inside, outside := rest[len(rest)-1], rest[:len(rest)-1]
	numbers, protocol, _ := strings.Cut(inside, "/")
	switch protocol = strings.ToLower(protocol); protocol {
	case "":
		protocol = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return bad("the protocol is none of tcp, udp and sctp")
	}
	first, last, ok := portRange(numbers)
	if !ok {
		return bad("want PORT or FIRST-LAST")
	}
	if n := len(outside) - 1; n >= 0 {
		if ip := strings.Join(outside[:n], ":"); ip != "" && net.ParseIP(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")) == nil {
			return bad("that is no address")
		}
		if host := outside[n]; host != "" {
			a, b, ok := portRange(host)
			if !ok || last != first && b-a != last-first {
				return bad("the ports of the host do not fit")
			}
		}
	}
	for n := first; n <= last; n++ {
		list = append(list, strconv.Itoa(n)+"/"+protocol)
	}
	return list, len(outside) > 0, nil
}

// portRange reads PORT or FIRST-LAST.
func portRange(s string) (first, last int, ok bool) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	x, err1 := strconv.ParseUint(a, 10, 16)
	y, err2 := strconv.ParseUint(b, 10, 16)
	return int(x), int(y), err1 == nil && err2 == nil && x <= y
}
