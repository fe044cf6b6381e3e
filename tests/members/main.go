// Command archipel-members holds the components of a Kubernetes control plane in one binary.
//
//	archipel-members [--die-with-parent] COMPONENT [FLAGS…]
//
// COMPONENT is etcd, kube-apiserver, kube-controller-manager or kube-scheduler; a link to the
// binary with one of these names runs that component too. Any other program is run as
//
//	archipel-members --die-with-parent --exec PROGRAM [ARGUMENTS…]
//
// so that it too ends with its parent.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// components maps a component's name to what runs it; arguments are in os.Args, like in a binary of its own.
var components = map[string]func() int{
	"etcd": func() int {
		etcdmain.Main(os.Args)
		return 0
	},
	"kube-apiserver":          cobraComponent(apiserver.NewAPIServerCommand),
	"kube-controller-manager": cobraComponent(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          cobraComponent(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
}

func cobraComponent(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	if component, found := components[filepath.Base(args[0])]; found {
		return component()
	}
	rest := args[1:]
	dieWithParent := len(rest) > 0 && rest[0] == "--die-with-parent"
	if dieWithParent {
		rest = rest[1:]
		if err := endWithParent(); err != nil {
			fmt.Fprintln(os.Stderr, "archipel-members:", err)
			return 1
		}
	}
	if len(rest) > 1 && rest[0] == "--exec" {
		err := replaceWith(rest[1], rest[1:])
		fmt.Fprintf(os.Stderr, "archipel-members: cannot run %s: %v\n", rest[1], err)
		return 1
	}
	if len(rest) > 0 {
		if component, found := components[rest[0]]; found {
			os.Args = rest
			return component()
		}
	}
	fmt.Fprintf(os.Stderr, "usage: archipel-members [--die-with-parent] {%s} [FLAGS...]\n", strings.Join(names(), "|"))
	return 2
}

func names() []string {
	var all []string
	for name := range components {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
