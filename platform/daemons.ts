import { apiServerSpec, controllerManagerSpec, schedulerSpec } from "./controlPlane";
import { azuriteSpec } from "./azurite";
import { containerdSpec } from "./containerd";
import type { DaemonSpec } from "./daemon";
import { dockerSpec } from "./docker";
import { etcdSpec } from "./etcd";
import { gatewaySpec, hasServices } from "./gateway";
import { kubeletSpec } from "./kubelet";
import { registrySpec } from "./registry";
import type { Settings } from "./settings";

/** The daemons of a platform, in the order in which they depend on each other. */
export interface Daemons {
    readonly etcd: DaemonSpec;
    readonly apiServer: DaemonSpec;
    readonly controllerManager: DaemonSpec;
    readonly scheduler: DaemonSpec;
    readonly containerd: DaemonSpec;
    readonly registry: DaemonSpec;
    readonly azurite: DaemonSpec;
    /** Absent where a Docker of the user's own is used. */
    readonly docker?: DaemonSpec;
    readonly kubelet: DaemonSpec;
    /** Present while there is a service in the cluster. */
    readonly gateway?: DaemonSpec;
}

/** Needs the Debian packages, and writes nothing but the secrets that are missing. */
export function daemonsOf(settings: Settings, ownDocker: boolean): Daemons {
    return {
        etcd: etcdSpec(settings),
        apiServer: apiServerSpec(settings),
        controllerManager: controllerManagerSpec(settings),
        scheduler: schedulerSpec(settings),
        containerd: containerdSpec(settings),
        registry: registrySpec(settings),
        azurite: azuriteSpec(settings),
        ...(ownDocker && { docker: dockerSpec(settings) }),
        kubelet: kubeletSpec(settings),
        ...(hasServices(settings.home) && { gateway: gatewaySpec(settings) }),
    };
}

export function listOf(daemons: Daemons): readonly DaemonSpec[] {
    return Object.values(daemons) as DaemonSpec[];
}
