// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// ReadHealthcheck reads a health check in which times may be written as 30s, and
// makes of it what [SetHealthcheck] takes. ErrInvalid if it is none.
func ReadHealthcheck(raw []byte) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, oci.Errorf(oci.ErrInvalid, "health check: want a JSON object, as {\"Test\":[\"CMD\",\"/app\"],\"Interval\":\"30s\"}")
	}
	if err := oci.CheckJSON(raw, healthSpellings...); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "health check: %w", err)
	}
	changed := false
	for key, value := range members {
		now, err := healthMember(key, value)
		if err != nil {
			return nil, oci.Wrap("", "health check", err)
		}
		changed = changed || string(now) != string(value)
		members[key] = now
	}
	if changed {
		raw, _ = json.Marshal(members) // values that were read
	}
	return raw, CheckHealthcheck(raw)
}

func healthMember(key string, value json.RawMessage) (json.RawMessage, error) {
	if isNull(value) {
		return value, nil
	}
	switch key {
	case "Test":
		var words []string
		if json.Unmarshal(value, &words) != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "Test is a list of words, not %s", oci.Quote(string(value)))
		}
	case "Retries":
		var n uint32
		if json.Unmarshal(value, &n) != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "Retries is a number, not %s", oci.Quote(string(value)))
		}
	case "Interval", "Timeout", "StartPeriod", "StartInterval":
		var text string
		var n uint64
		if json.Unmarshal(value, &n) == nil && n <= math.MaxInt64 {
			return value, nil
		}
		err := json.Unmarshal(value, &text)
		d, errTime := time.ParseDuration(text)
		if err != nil || errTime != nil || d < 0 {
			return nil, oci.Errorf(oci.ErrInvalid, "%s is a time as \"30s\" or \"1m30s\", or nanoseconds, not %s", key, oci.Quote(string(value)))
		}
		return json.Marshal(d.Nanoseconds())
	default:
		return nil, oci.Errorf(oci.ErrInvalid, "there is no %s: want %s", oci.Quote(key), strings.Join(healthSpellings, ", "))
	}
	return value, nil
}
