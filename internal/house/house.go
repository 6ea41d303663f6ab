// SPDX-License-Identifier: Apache-2.0

// Package house holds the project to its own rules; see its tests.
package house
