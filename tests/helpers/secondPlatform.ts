/** Variables for a second platform beside the machine's own: everything that could collide is moved. */
export const secondPlatform = {
    KE1_BRIDGE: "ke1test0",
    KE1_SUBNET: "10.87.0.0/16",
    KE1_DOCKER_BRIDGE: "ke1test1",
    KE1_DOCKER_SUBNET: "10.88.0.0/16",
    KE1_SERVICE_SUBNET: "10.89.0.0/16",
    KE1_API_PORT: "16443",
    KE1_REGISTRY_PORT: "15000",
    KE1_BLOB_PORT: "20000",
    KE1_KUBELET_PORT: "20250",
    KE1_KUBELET_HEALTH_PORT: "20248",
    KE1_CONTROLLER_MANAGER_PORT: "20257",
    KE1_SCHEDULER_PORT: "20259",
    KE1_ETCD_PORT: "23890",
    KE1_ETCD_PEER_PORT: "23891",
} as const;
