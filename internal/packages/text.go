// SPDX-License-Identifier: Apache-2.0

package packages

import (
	"bytes"
	"slices"
	"strings"
)

// dpkgStatus reads dpkg's one file of all packages that it ever knew
// (dpkg(1), "dpkg-query --status").
func dpkgStatus(data []byte, add found) error { return dpkg(data, "", add) }

// dpkgStatusD reads a file of one package, as images without dpkg have it.
// There, no status means that the package is installed.
func dpkgStatusD(data []byte, add found) error {
	return dpkg(data, "install ok installed", add)
}

func dpkg(data []byte, status string, add found) error {
	fields := []string{"package", "version", "architecture", "status"}
	return stanzas(data, fold, fields, func(v map[string]string) error {
		s, ok := v["status"]
		if !ok {
			s = status
		}
		// What is wanted, whether something is wrong, and how far it came.
		if words := strings.Fields(s); len(words) != 3 || words[2] != "installed" {
			return nil
		}
		return add(Package{Manager: "dpkg", Name: v["package"], Version: v["version"], Arch: v["architecture"]})
	})
}

// apk reads the index that apk keeps of what is installed (apk-tools,
// "apk v2 installed database"): fields of one letter, upper and lower case
// being different ones.
func apk(data []byte, add found) error {
	same := func(key []byte, field string) bool { return string(key) == field }
	return stanzas(data, same, []string{"P", "V", "A"}, func(v map[string]string) error {
		return add(Package{Manager: "apk", Name: v["P"], Version: v["V"], Arch: v["A"]})
	})
}

// fold says whether key is that field, in upper or lower case.
func fold(key []byte, field string) bool {
	return len(key) == len(field) && strings.EqualFold(string(key), field)
}

// stanzas cuts data into the parts that empty lines separate, and calls each
// with those of the wanted fields that a part has; is says which one a key
// means. Lines that begin with a space go on with the field before, which is
// never a wanted one.
func stanzas(data []byte, is func(key []byte, field string) bool, wanted []string, each func(map[string]string) error) error {
	values, open := map[string]string{}, false
	end := func() error {
		if !open {
			return nil
		}
		err := each(values)
		open = false
		clear(values)
		return err
	}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			if err := end(); err != nil {
				return broken("before line %d: %w", n, err)
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return broken("line %d: no field", n)
		}
		open = true
		i := slices.IndexFunc(wanted, func(field string) bool { return is(key, field) })
		if i < 0 {
			continue
		}
		k := wanted[i]
		if _, twice := values[k]; twice {
			return broken("line %d: field %s again", n, k)
		}
		if value = bytes.TrimSpace(value); len(value) > maxWord {
			return broken("line %d: field %s has %d bytes", n, k, len(value))
		}
		values[k] = string(value)
	}
	return end()
}
