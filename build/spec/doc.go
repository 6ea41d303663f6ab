// SPDX-License-Identifier: Apache-2.0

// Package spec reads dray.yaml, which describes all builds of a repository.
package spec
