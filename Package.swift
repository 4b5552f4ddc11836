// swift-tools-version: 6.2
import PackageDescription

// One package, no unsafe flags: the same settings for every Swift target, so that no file can opt out.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

let cSettings: [CSetting] = [
    .enableWarning("all"), .enableWarning("extra"), .treatAllWarnings(as: .error),
]

let package = Package(
    name: "wirevale",
    products: [
        .executable(name: "wirevale", targets: ["wirevale"]),
        .library(name: "Netmap", targets: ["Netmap"]),
        .library(name: "Vale", targets: ["Vale"]),
        .library(name: "netmap", type: .static, targets: ["LibNetmap"]),  // for C: libnetmap.a
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .target(name: "CNetmap", cSettings: cSettings),
        // Takes the headers of CNetmap, not its code: libnetmap.a is for programs that have nothing else.
        .target(
            name: "LibNetmap",
            cSettings: cSettings + [.headerSearchPath("../CNetmap/include")]
        ),
        .target(name: "Wire", swiftSettings: settings),
        .target(name: "Traffic", swiftSettings: settings),
        .target(name: "Netmap", dependencies: ["CNetmap", "Wire"], swiftSettings: settings),
        .target(
            name: "Vale",
            dependencies: ["CNetmap", "Netmap"],
            swiftSettings: settings
        ),
        .target(
            name: "VhostUser",
            dependencies: ["CNetmap", "Netmap"],
            swiftSettings: settings
        ),
        .target(
            name: "Ports",
            dependencies: ["CNetmap", "Netmap", "Wire"],
            swiftSettings: settings
        ),
        .target(
            name: "Control",
            dependencies: [.product(name: "Yams", package: "Yams")],
            swiftSettings: settings
        ),
        .target(
            name: "Engine",
            dependencies: [
                "CNetmap", "Control", "Netmap", "Ports", "Vale", "VhostUser", "Wire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "wirevale",
            dependencies: [
                "CNetmap", "Control", "Engine", "Netmap", "Traffic", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        // What programs on the Swift API look like; each file is one program.
        .executableTarget(
            name: "sink",
            dependencies: ["Netmap", "Vale"],
            path: "Examples/Sink",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "zero-copy-bridge",
            dependencies: ["Netmap", "Vale"],
            path: "Examples/ZeroCopyBridge",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "middlebox",
            dependencies: ["Netmap", "Vale", "Wire"],
            path: "Examples/Middlebox",
            swiftSettings: settings
        ),
        // What `make bench` runs beside the engine itself.
        .target(name: "CForwarding", dependencies: ["CNetmap"], path: "Benchmarks/CForwarding"),
        .executableTarget(
            name: "forwarding-bench",
            dependencies: ["CForwarding", "CNetmap", "Netmap", "Vale"],
            path: "Benchmarks/Forwarding",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "virtqueue-bench",
            dependencies: ["CNetmap", "Netmap", "Vale", "VhostUser"],
            path: "Benchmarks/Virtqueue",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "latency-bench",
            dependencies: ["CNetmap", "Netmap", "VhostUser"],
            path: "Benchmarks/Latency",
            swiftSettings: settings
        ),
        .target(
            name: "TestSupport",
            dependencies: ["CNetmap", "Netmap"],
            path: "Tests/Support",
            swiftSettings: settings
        ),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
        .testTarget(name: "TrafficTests", dependencies: ["Traffic"], swiftSettings: settings),
        .testTarget(
            name: "NetmapTests",
            dependencies: ["CNetmap", "Netmap", "Wire", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ValeTests",
            dependencies: ["Netmap", "Vale", "Wire", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "VhostUserTests",
            dependencies: ["CNetmap", "Netmap", "VhostUser", "Wire", "TestSupport"],
            swiftSettings: settings
        ),
        // Proves that the API can be used without one `unsafe`.
        .testTarget(
            name: "SafeClientTests",
            dependencies: ["Netmap", "Vale"],
            swiftSettings: settings
        ),
        .target(
            name: "LibNetmapProbe",
            dependencies: ["LibNetmap"],
            path: "Tests/LibNetmapProbe",
            cSettings: cSettings + [.headerSearchPath("../../Sources/CNetmap/include")]
        ),
        .testTarget(
            name: "LibNetmapTests",
            dependencies: ["LibNetmapProbe"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PortsTests",
            dependencies: ["CNetmap", "Netmap", "Ports", "TestSupport", "Wire"],
            swiftSettings: settings
        ),
        .testTarget(name: "ControlTests", dependencies: ["Control"], swiftSettings: settings),
        .testTarget(
            name: "EngineTests",
            dependencies: [
                "CNetmap", "Control", "Engine", "Netmap", "Ports", "TestSupport", "Vale",
                "VhostUser", "Wire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
    ]
)
