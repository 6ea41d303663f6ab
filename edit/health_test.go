// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

func TestReadHealthcheck(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"Interval":"30s"}`:                     `{"Interval":30000000000}`,
		`{"StartPeriod":"1m","Timeout":"1.5s"}`:  `{"StartPeriod":60000000000,"Timeout":1500000000}`,
		`{ "Interval": 5, "Retries": 3 }`:        `{ "Interval": 5, "Retries": 3 }`,
		`{"StartInterval":null,"Test":["NONE"]}`: `{"StartInterval":null,"Test":["NONE"]}`,
	} {
		if got, err := edit.ReadHealthcheck([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		`{"Interval":"soon"}`:       `Interval is a time as "30s" or "1m30s", or nanoseconds`,
		`{"Interval":"-1s"}`:        "Interval is a time",
		`{"Interval":1.5}`:          "Interval is a time",
		`{"Interval":[1]}`:          "Interval is a time",
		`{"Test":"x"}`:              "Test is a list of words",
		`{"Test":["x"]}`:            "CMD",
		`{"Retries":"3"}`:           "Retries is a number",
		`{"Intervall":"3s"}`:        "there is no",
		`{"interval":"3s"}`:         "interval",
		`[]`:                        "want a JSON object",
		`null`:                      "want a JSON object",
		`x`:                         "want a JSON object",
		`{"Retries":1,"Retries":1}`: "Retries",
	} {
		_, err := edit.ReadHealthcheck([]byte(in))
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "struct") {
			t.Errorf("%s: %v", in, err)
		}
	}
}
