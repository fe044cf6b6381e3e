// Command client uses a hub as any Go program uses a cluster: with client-go's typed clientset, which sends protobuf, a
// shared informer, and leader election on a Lease. It takes the kubeconfig's path, prints a line per step, and ends with
// 0 when every step was seen to work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const patience = 30 * time.Second

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: client KUBECONFIG")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()

	namespace, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "go-client-"},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	defer func() {
		_ = client.CoreV1().Namespaces().Delete(context.Background(), namespace.Name, metav1.DeleteOptions{})
	}()
	if err := inform(ctx, client, namespace.Name); err != nil {
		return fmt.Errorf("informer: %w", err)
	}
	fmt.Println("informer: ok")
	if err := lead(ctx, config.Host, client, namespace.Name); err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	fmt.Println("leader election: ok")
	return nil
}

// inform follows one ConfigMap through its life by a shared informer.
func inform(ctx context.Context, client kubernetes.Interface, namespace string) error {
	seen := make(chan string, 64)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	note := func(what string, object any) {
		if config, ok := object.(*corev1.ConfigMap); ok && config.Name == "settings" {
			seen <- what + " " + config.Data["colour"]
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { note("added", object) },
		UpdateFunc: func(_, object any) { note("updated", object) },
		DeleteFunc: func(object any) { note("deleted", object) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the cache did not sync")
	}
	configs := client.CoreV1().ConfigMaps(namespace)
	created, err := configs.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"},
		Data:       map[string]string{"colour": "red"},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := expect(seen, "added red"); err != nil {
		return err
	}
	created.Data["colour"] = "blue"
	if _, err := configs.Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := expect(seen, "updated blue"); err != nil {
		return err
	}
	if err := configs.Delete(ctx, "settings", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return expect(seen, "deleted blue")
}

func expect(seen <-chan string, want string) error {
	select {
	case got := <-seen:
		if got != want {
			return fmt.Errorf("saw %q, wanted %q", got, want)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("did not see %q", want)
	}
}

// lead takes a Lease, renews it, and gives it back to a second candidate.
func lead(ctx context.Context, host string, client kubernetes.Interface, namespace string) error {
	for _, identity := range []string{"first", "second"} {
		if err := campaign(ctx, client, namespace, identity); err != nil {
			return fmt.Errorf("%s at %s: %w", identity, host, err)
		}
	}
	return nil
}

func campaign(ctx context.Context, client kubernetes.Interface, namespace, identity string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started := make(chan struct{})
	stopped := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "leader"},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		ReleaseOnCancel: true,
		LeaseDuration:   4 * time.Second,
		RenewDeadline:   3 * time.Second,
		RetryPeriod:     500 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(started) },
			OnStoppedLeading: func() { close(stopped) },
		},
	})
	if err != nil {
		return err
	}
	go elector.Run(ctx)
	select {
	case <-started:
	case <-time.After(patience):
		return errors.New("did not come to lead")
	}
	before, err := client.CoordinationV1().Leases(namespace).Get(ctx, "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	renewed := func() (bool, error) {
		now, err := client.CoordinationV1().Leases(namespace).Get(ctx, "leader", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return now.Spec.RenewTime.After(before.Spec.RenewTime.Time), nil
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		done, err := renewed()
		if err != nil {
			return err
		}
		if done {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("the lease was not renewed")
		}
	}
	stop()
	select {
	case <-stopped:
		return nil
	case <-time.After(patience):
		return errors.New("did not stop leading")
	}
}
