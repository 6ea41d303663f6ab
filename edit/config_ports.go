// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// mostPorts is the longest range of ports.
const mostPorts = 1000

// CheckPort is ErrInvalid if a text is not PORT, PORT/PROTOCOL, or a range
// FIRST-LAST of at most 1000 ports.
func CheckPort(spec string) error {
	_, err := ports(spec)
	return err
}

// ports are the keys that a config has for ports: the specification knows no
// ranges.
func ports(spec string) ([]string, error) {
	numbers, protocol, named := strings.Cut(spec, "/")
	if !named {
		protocol = "tcp"
	}
	a, b, isRange := strings.Cut(numbers, "-")
	if !isRange {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	switch protocol = strings.ToLower(protocol); {
	case err1 != nil || err2 != nil || first == 0 || last < first || protocol != "tcp" && protocol != "udp" && protocol != "sctp":
		return nil, oci.Errorf(oci.ErrInvalid, "port %s: want PORT, PORT/PROTOCOL or FIRST-LAST/PROTOCOL", oci.Quote(spec))
	case last-first >= mostPorts:
		return nil, oci.Errorf(oci.ErrInvalid, "port %s: more than %d ports", oci.Quote(spec), mostPorts)
	}
	var out []string
	for n := first; n <= last; n++ {
		out = append(out, fmt.Sprintf("%d/%s", n, protocol))
	}
	return out, nil
}

// AddPort exposes a port, or those of a range; see CheckPort.
func AddPort(spec string) Edit {
	return func(i *Image) error {
		all, err := ports(spec)
		for _, p := range all {
			bare, tcp := strings.CutSuffix(p, "/tcp")
			if err == nil && (!tcp || i.Get("config", ExposedPorts, bare) == nil) {
				err = i.member(ExposedPorts, p)
			}
		}
		return err
	}
}

// RemovePort takes back what AddPort does; a port that is not exposed is none.
func RemovePort(spec string) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		all, err := ports(spec)
		for _, p := range append(all, spec) {
			removeMember(i.config, p, "config", ExposedPorts)
			if bare, ok := strings.CutSuffix(p, "/tcp"); ok {
				removeMember(i.config, bare, "config", ExposedPorts)
			}
		}
		return err
	}
}

// AddVolume names a directory whose content does not belong to the image.
// ErrInvalid if it is not absolute for the image's operating system.
func AddVolume(dir string) Edit {
	return func(i *Image) error {
		if err := i.checkAbsolute(dir); err != nil {
			return err
		}
		if err := checkText("a volume", dir); err != nil {
			return err
		}
		return i.member(Volumes, dir)
	}
}

// RemoveVolume takes out a volume.
func RemoveVolume(dir string) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		removeMember(i.config, dir, "config", Volumes)
		return nil
	}
}

// member puts a key into one of the objects that are used as sets.
func (i *Image) member(set, key string) error {
	if i.Get("config", set, key) != nil {
		return nil
	}
	return i.Set(json.RawMessage("{}"), "config", set, key)
}

// health is the form of Docker's health check.
type health struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval uint64 // nanoseconds
	Retries                                       uint32
}

// CheckHealthcheck is ErrInvalid if JSON is not a health check as Docker's
// configs have it.
func CheckHealthcheck(raw []byte) error {
	if err := oci.CheckJSON(raw, healthSpellings...); err != nil {
		return oci.Errorf(oci.ErrInvalid, "health check: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var h *health
	if err := dec.Decode(&h); err != nil {
		return oci.Errorf(oci.ErrInvalid, "health check: %w", err)
	}
	switch {
	case h == nil:
		return oci.Errorf(oci.ErrInvalid, "health check: want an object")
	case len(h.Test) == 0:
		return nil
	case h.Test[0] == "NONE" && len(h.Test) == 1, h.Test[0] == "CMD" && len(h.Test) > 1, h.Test[0] == "CMD-SHELL" && len(h.Test) == 2:
		return nil
	}
	return oci.Errorf(oci.ErrInvalid, "health check: Test is [\"NONE\"], [\"CMD\", WORD...] or [\"CMD-SHELL\", TEXT]")
}

// SetHealthcheck sets the members of the health check that an object has, as
// Docker's configs have them, with times in nanoseconds; the others stay, and
// null takes one out. Test ["NONE"] switches off that of a base.
func SetHealthcheck(raw json.RawMessage) Edit {
	return func(i *Image) error {
		if err := CheckHealthcheck(raw); err != nil {
			return err
		}
		if isNull(i.Get("config", Healthcheck)) {
			if err := i.Set(json.RawMessage("{}"), "config", Healthcheck); err != nil {
				return err
			}
		}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(raw, &members) // was checked
		for _, key := range healthSpellings {
			value, ok := members[key]
			switch {
			case !ok:
			case isNull(value):
				i.Remove("config", Healthcheck, key)
			default:
				if err := i.Set(value, "config", Healthcheck, key); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
