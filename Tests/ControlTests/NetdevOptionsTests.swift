// Ports and sockets as people write them.

import Control
import Testing

@Suite struct KeyValueTextTests {
    @Test(
        "commas are escaped by doubling",
        arguments: [
            ("a,b=c,,d,e=,f", ["type=a", "b=c,d", "e=", "f"]), ("", []), ("a", ["type=a"]),
            ("a=1", ["a=1"]), ("x,,y,,,,z", ["type=x,y,,z"]), ("a=b=c", ["a=b=c"]),
            ("a=1,,,b=2", ["a=1,", "b=2"]), ("a,", ["type=a"]),
        ]
    )
    func splits(text: String, parts: [String]) {
        let parsed = KeyValueText(text, implied: "type")
        #expect(parsed.pairs.map { $0.key + ($0.value.map { "=" + $0 } ?? "") } == parts)
        #expect(KeyValueText(parsed.text(implied: "type"), implied: "type") == parsed)
    }

    @Test func theLastOfSeveralValuesCounts() {
        var text = KeyValueText("a=1,b,a=2")
        #expect(text["a"] == "2")
        #expect(text["b"] == "on")
        #expect(text.remove("a") == "2")
        #expect(text.pairs.count == 1)
    }
}

@Suite struct NetdevOptionsTests {
    private func options(_ text: String) throws -> NetdevOptions {
        try NetdevOptions(text: text) { $0 == "/dev/other" }
    }

    @Test(
        "good options are taken",
        arguments: [
            "netmap,id=n0,ifname=vale0:vm1,devname=/dev/netmap",
            "type=netmap,ifname=vale0:vm1,id=n0",
            "netmap,id=x,id=n0,ifname=vale0:vm1",
            "{\"type\": \"netmap\", \"id\": \"n0\", \"ifname\": \"vale0:vm1\"}",
        ]
    )
    func takes(text: String) throws {
        let port = try ValePortName("vale0:vm1")
        #expect(
            try options(text)
                == NetdevOptions(id: "n0", port: port, backend: .netmap(NetmapOptions()))
        )
    }

    @Test func numbersAndBooleansAreReadAsQemuReadsThem() throws {
        let parsed = try options("netmap,id=n,ifname=valeA_b:x.y-z,queues=0x10,ephemeral=yes")
        #expect(parsed.queues == 16)
        #expect(parsed.isEphemeral)
        #expect(parsed.port.master == "valeA_b")
        #expect(try NetdevOptions(parsed.arguments) == parsed)
        let user = try options("vhost-user,id=n,ifname=vale0:x,chardev=c0,vhostforce=on")
        guard case .vhostUser(let options) = user.backend else {
            Issue.record("\(user)")
            return
        }
        #expect(options.chardev == "c0")
        #expect(try NetdevOptions(user.arguments) == user)
    }

    @Test(
        "options of taps are taken and given back",
        arguments: [
            "tap,id=t,port=vale0:t", "tap,id=t,port=vale0:t,ifname=tap0,queues=4,vnet_hdr=off",
            "tap,id=t,port=vale0:t,ifname=eth0,netns=box,mtu=9000,persistent=on",
            "tap,id=t,port=vale0:t,fds=a:b:c", "tap,id=t,port=vale0:t,br=br7,script=no",
            "tap,id=t,port=vale0:t,helper=/usr/lib/qemu/qemu-bridge-helper",
            "bridge,id=t,port=vale0:t", "bridge,id=t,port=vale0:t,br=lan0,helper=/x",
        ]
    )
    func takesTaps(text: String) throws {
        let parsed = try options(text)
        #expect(parsed.type == text.prefix { $0 != "," })
        #expect(try NetdevOptions(parsed.arguments) == parsed)
        guard case .tap(let tap) = parsed.backend else {
            Issue.record("\(parsed)")
            return
        }
        #expect(tap.queues == (text.contains("fds") ? 3 : text.contains("queues") ? 4 : 1))
        #expect(tap.isRestorable == !text.contains("fds"))
    }

    @Test(
        "options of socket netdevs are taken and given back",
        arguments: [
            "stream,id=s,port=vale0:s,addr.type=unix,addr.path=/run/a,,b.sock",
            "stream,id=s,port=vale0:s,server=on,addr.type=inet,addr.host=,addr.port=1,lossless=on",
            "stream,id=s,port=vale0:s,addr.type=inet,addr.host=::1,addr.port=65535,reconnect=0",
            "stream,id=s,port=vale0:s,addr.type=fd,addr.str=f,reconnect-ms=50",
            "stream,id=s,port=vale0:s,addr.host=h,addr.type=inet,addr.port=7,addr.ipv6=on,"
                + "addr.numeric=on,addr.keep-alive=on",
            "dgram,id=s,port=vale0:s,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b",
            "dgram,id=s,port=vale0:s,remote.type=inet,remote.host=230.0.0.1,remote.port=1234",
            "dgram,id=s,port=vale0:s,local.type=inet,local.host=a,local.port=1,remote.type=inet,"
                + "remote.host=b,remote.port=2",
            "dgram,id=s,port=vale0:s,local.type=fd,local.str=f",
            "socket,id=s,port=vale0:s,listen=:1234", "socket,id=s,port=vale0:s,connect=h:1234",
            "socket,id=s,port=vale0:s,mcast=230.0.0.1:1,localaddr=127.0.0.1",
            "socket,id=s,port=vale0:s,udp=a:1,localaddr=b:2", "socket,id=s,port=vale0:s,fd=f",
        ]
    )
    func takesSockets(text: String) throws {
        let parsed = try options(text)
        #expect(parsed.type == text.prefix { $0 != "," })
        #expect(try NetdevOptions(parsed.arguments) == parsed)
        let json = JSONValue.object(parsed.arguments).description
        #expect(try options(json) == parsed)
        #expect(parsed.backend.options.isRestorable == !text.contains("=f"))
    }

    @Test func dottedKeysAreMembersOfMembers() throws {
        let text = "stream,id=s,port=vale0:s,addr.path=/x,server=on,addr.type=unix"
        let expected: JSONObject = [
            "type": "stream", "id": "s", "port": "vale0:s", "server": true,
            "addr": ["type": "unix", "path": "/x"],
        ]
        #expect(try NetdevOptions.arguments(text: text) == expected)
        guard case .stream(let stream) = try options(text).backend else {
            Issue.record("no stream")
            return
        }
        #expect(stream.plan == StreamPlan(.unix("/x"), isServer: true))
    }

    @Test(
        "bad options of socket netdevs are refused with a sentence that helps",
        arguments: [
            ("stream", "Parameter 'addr' is missing"),
            ("stream,addr.path=/x", "Parameter 'addr.type' is missing"),
            ("stream,addr=x", "Invalid parameter type for 'addr', expected: object"),
            ("stream,addr.type=unix", "Parameter 'addr.path' is missing"),
            ("stream,addr.type=vsock", "'addr.type' does not accept value 'vsock'"),
            ("stream,addr.type=unix,addr.path=x", "'addr.path' expects an absolute path"),
            ("stream,addr.type=unix,addr.path=/x,addr.foo=1", "Invalid parameter 'addr.foo'"),
            ("stream,addr.type=unix,addr.path.x=1", "Invalid parameter 'addr.path.x'"),
            ("stream,server.x=1", "Invalid parameter 'server.x'"),
            ("stream,addr.type=inet,addr.host=a,addr.port=b", "'addr.port' expects a port number"),
            ("stream,addr.type=inet,addr.host=a,addr.port=1,addr.ipv4=x", "'addr.ipv4' expects"),
            (
                "stream,addr.type=inet,addr.host=a,addr.port=1,addr.ipv4=off,addr.ipv6=off",
                "cannot both be off"
            ),
            ("stream,addr.type=unix,addr.path=/x,reconnect=1,reconnect-ms=1", "mutually exclusive"),
            ("stream,server=on,addr.type=unix,addr.path=/x,reconnect=1", "add server=off"),
            ("stream,addr.type=unix,addr.path=/x,reconnect-ms=-1", "at most a day"),
            ("dgram", "Parameter 'remote' is missing"),
            ("dgram,remote.type=unix,remote.path=/x", "Parameter 'local' is missing"),
            ("dgram,local.type=unix,local.path=/x", "Parameter 'remote' is missing"),
            (
                "dgram,local.type=unix,local.path=/x,remote.type=inet,remote.host=a,remote.port=1",
                "have to be the same"
            ),
            (
                "dgram,local.type=unix,local.path=/x,remote.type=unix,remote.path=/x",
                "are the same: /x"
            ),
            (
                "dgram,remote.type=inet,remote.host=230.0.0.1,remote.port=1,lossless=on",
                "datagrams get lost"
            ),
            ("socket", "exactly one of"), ("socket,listen=:1,udp=a:1", "exactly one of"),
            ("socket,listen=a", "'listen' expects host:port"),
            ("socket,listen=a:0", "from 1 to 65535; not '0'"),
            ("socket,udp=a:1", "localaddr= is mandatory"),
            ("socket,connect=a:1,localaddr=b:2", "only valid with mcast= or udp="),
            ("socket,mcast=10.0.0.1:1", "a group of 224.0.0.0"),
        ]
    )
    func refusesSockets(text: String, part: String) {
        do throws(QMPError) {
            _ = try NetdevOptions(text: text + ",id=s,port=vale0:s")
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }

    @Test(
        "bad options are refused with a sentence that helps",
        arguments: [
            ("netmap,ifname=vale0:a", "Parameter 'id' is missing"),
            ("netmap,id=n0", "Parameter 'ifname' is missing"),
            ("nope,id=n0", "Parameter 'type' does not accept value 'nope'"),
            ("nope,id=n0,x=1", "Parameter 'type' does not accept value 'nope'"),
            ("netmap,id=n0,ifname=vale0:a,foo=1", "Invalid parameter 'foo'"),
            ("netmap,id=n0,ifname=vale0:a,queues=x", "a whole number, not 'x'"),
            ("netmap,id=n0,ifname=vale0:a,queues=0", "from 1 to 128, not 0"),
            ("netmap,id=n0,ifname=vale0:a,ephemeral=maybe", "'on' or 'off'"),
            ("netmap,id=0n,ifname=vale0:a", "an identifier"),
            ("netmap,id=n0,ifname=eth0", "such as 'vale0:eth0'"),
            ("netmap,id=n0,ifname=vale0", "write 'vale0:vm1'"),
            ("netmap,id=n0,ifname=vale0:", "no port name after the ':'"),
            ("netmap,id=n0,ifname=lab:vm1", "does not start with 'vale'"),
            ("netmap,id=n0,ifname=vale-1:vm1", "has the character '-'"),
            ("netmap,id=n0,ifname=vale0:vm/1", "has the character '/'"),
            ("netmap,id=n0,ifname=vale0:..", "only dots"),
            ("netmap,id=n0,ifname=vale0:1234567890123456", "has 16 characters; at most 15"),
            ("netmap,id=n0,ifname=vale012345678901:a", "has 16 characters; at most 15"),
            ("netmap,id=n0,ifname=vale0:a,devname=/dev/gone", "'/dev/gone' does not exist"),
            ("netmap,id=n0,ifname=vale0:a,devname=/dev/other", "'/dev/other'; leave devname out"),
            ("vhost-user,id=n0,chardev=c", "Parameter 'ifname' is missing"),
            ("{\"type\": \"netmap\"", "JSON parse error"),
            ("tap,id=t", "Parameter 'port' is missing"),
            ("tap,id=t,port=tap0", "such as 'vale0:tap0'"),
            ("tap,id=t,port=vale0:t,ifname=a/b", "the name of an interface"),
            ("tap,id=t,port=vale0:t,fd=a,fds=b", "exclude each other"),
            ("tap,id=t,port=vale0:t,fds=a:b,queues=3", "is 3, but there are 2 descriptors"),
            ("tap,id=t,port=vale0:t,fd=a,netns=x", "'netns' is unexpected with descriptors"),
            ("tap,id=t,port=vale0:t,helper=/x,ifname=y", "the helper makes the interface"),
            ("tap,id=t,port=vale0:t,script=/etc/qemu-ifup", "the engine runs no scripts"),
            ("tap,id=t,port=vale0:t,vhost=on", "the engine moves the frames"),
            ("tap,id=t,port=vale0:t,mtu=67", "from 68 to 65521, not 67"),
            ("packet,id=p,port=vale0:p", "Parameter 'ifname' is missing"),
            ("packet,id=p,port=vale0:e^h0,ifname=eth0", "has the character '^'"),
            ("host-stack,id=h,port=vale0:^,ifname=eth0", "only dots"),
            ("packet,id=p,port=vale0:p,ifname=a/b", "the name of an interface"),
            ("packet,id=p,port=vale0:p,ifname=eth0,lossless=on", "does not say when it has room"),
            ("af-xdp,id=x,port=vale0:x,ifname=eth0,lossless=on", "does not say when it has room"),
            ("af-xdp,id=x,port=vale0:x,ifname=eth0,mode=fast", "mode"),
            ("af-xdp,id=x,port=vale0:x,ifname=eth0,start-queue=-1", "from 0 to 65535, not -1"),
            ("af-xdp,id=x,port=vale0:x,ifname=eth0,inhibit=on", "how would frames find the port"),
            ("af-xdp,id=x,port=vale0:x,ifname=eth0,map-path=/m", "on with 'sock-fds'"),
            (
                "af-xdp,id=x,port=vale0:x,ifname=eth0,inhibit=on,sock-fds=a:b",
                "one descriptor for each of 1 queues, not 2"
            ),
            (
                "af-xdp,id=x,port=vale0:x,ifname=eth0,inhibit=on,sock-fds=a,map-path=/m",
                "exclude each other"
            ),
        ]
    )
    func refuses(text: String, part: String) {
        do throws(QMPError) {
            _ = try NetdevOptions(text: text) { $0 == "/dev/other" }
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }
}

@Suite struct InterfaceOptionsTests {
    @Test(
        arguments: [
            "packet,id=p,port=vale0:eth0,ifname=eth0",
            "packet,id=p,port=vale0:p,ifname=eth0,ring=on,qdisc-bypass=on,promisc=off",
            "af-xdp,id=x,port=vale0:x,ifname=eth0",
            "af-xdp,id=x,port=vale0:x,ifname=eth0,mode=skb,force-copy=on,queues=4,start-queue=2",
            "af-xdp,id=x,port=vale0:x,ifname=eth0,inhibit=on,map-path=/sys/fs/bpf/xsks",
            "af-xdp,id=x,port=vale0:x,ifname=eth0,queues=2,inhibit=on,sock-fds=a:b",
            "host-stack,id=h,port=vale0:eth0^,ifname=eth0",
        ]
    )
    func `what was asked for can be asked for again`(_ text: String) throws {
        let options = try NetdevOptions(text: text)
        #expect(try NetdevOptions(options.arguments) == options)
        let words = text.split(separator: ",").count
        #expect(options.arguments.count == words)
    }
}

@Suite struct ExistingPortTests {
    private func objection(_ wish: String, _ port: JSONObject) throws -> String? {
        try NetdevOptions(text: "netmap,id=n0,ifname=vale0:a" + wish).objection(to: .object(port))
    }

    @Test func `a port that is not lossless does not pass for one that is`() throws {
        let plain: JSONObject = ["role": "server", "queues": 1, "lossless": false]
        var lossless = plain
        lossless["lossless"] = true
        lossless["lossless-timeout"] = 1000
        #expect(try objection("", plain) == nil)
        #expect(try objection(",lossless=on", lossless) == nil)
        // More than was asked for is its operator's wish.
        #expect(try objection("", lossless) == nil)
        let text = try #require(try objection(",lossless=on", plain))
        #expect(text.contains("loses frames") && text.contains("wirevale port del vale0:a"))
        #expect(
            try objection(",lossless=on,lossless-timeout=5", lossless)?
                .contains("lossless-timeout=1000, not 5") == true
        )
    }

    @Test func `a port with fewer queues, or that connects, will not do`() throws {
        #expect(
            try objection(",queues=2", ["role": "server", "queues": 1])?
                .contains("with 1 queues, not 2") == true
        )
        #expect(
            try objection("", ["role": "client", "socket": "/x"])?.contains("connecting to /x")
                == true
        )
    }
}

@Suite struct ChardevOptionsTests {
    @Test func textConnectsAndQmpListensUnlessToldOtherwise() throws {
        let text = try ChardevOptions(text: "socket,id=c0,path=/run/a,,b.sock")
        #expect(!text.isServer)
        #expect(text.path == "/run/a,b.sock")
        #expect(text.reconnect == 1)
        let json = try JSONValue(
            parsing:
                "{'id':'c0','backend':{'type':'socket','data':{'addr':{'type':'unix','data':{'path':'/x'}}}}}"
        )
        #expect(try ChardevOptions(try #require(json.objectValue)).isServer)
        #expect(try ChardevOptions(text.arguments) == text)
        let server = try ChardevOptions(text: "socket,id=c0,path=/x,server=on,wait=off")
        #expect(server.isServer)
        #expect(server.filename == "unix:/x,server=on")
        #expect(try ChardevOptions(server.arguments) == server)
    }

    @Test(
        "bad sockets are refused with a sentence that helps",
        arguments: [
            ("null,id=c0", "does not accept value 'null'"), ("socket,path=/x", "'id' is missing"),
            ("socket,id=c0", "'path' is missing"), ("socket,id=c0,path=x", "an absolute path"),
            ("socket,id=c0,path=/x,foo=1", "Invalid parameter 'foo'"),
            ("socket,id=c0,path=/x,server=2", "'server' expects 'on' or 'off'"),
            ("socket,id=c0,path=/x,wait=on", "'wait' expects 'off'"),
            ("socket,id=c0,path=/x,server=on,reconnect=1", "add server=off"),
            ("socket,id=c0,path=/x,reconnect=-1", "seconds from 0"),
            ("socket,id=c0,path=/" + String(repeating: "x", count: 107), "at most 107 bytes"),
        ]
    )
    func refuses(text: String, part: String) {
        do throws(QMPError) {
            _ = try ChardevOptions(text: text)
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }
}
