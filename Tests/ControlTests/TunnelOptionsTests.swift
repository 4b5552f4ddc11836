// Ports that lead elsewhere, as people write them: user, vde, l2tpv3.

import Control
import Testing

private func options(_ text: String) throws -> NetdevOptions { try NetdevOptions(text: text) }

private func refusal(_ text: String) -> String {
    do throws(QMPError) {
        let options = try NetdevOptions(text: text)
        return "\(options)"
    } catch {
        return error.description
    }
}

@Suite struct UserOptionsTests {
    private let start = "user,id=u,port=vale0:up"

    private func passt(_ text: String) throws -> String {
        guard case .user(let user) = try options(start + text).backend else { return "" }
        return user.passtOptions.joined(separator: " ")
    }

    @Test(
        "QEMU's members become passt's options",
        arguments: [
            (
                "",
                "-a 10.0.2.15 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -m 1500 -t none -u none"
            ),
            (
                ",net=192.168.76.0/24,dhcpstart=192.168.76.9,mtu=9000",
                "-a 192.168.76.9 -n 24 -g 192.168.76.2 --dns-forward 192.168.76.3 -m 9000 "
                    + "-t none -u none"
            ),
            (
                ",net=10.9.0.0/255.255.0.0,host=10.9.1.1,dns=10.9.1.2,ipv6=off",
                "-a 10.9.0.15 -n 16 -g 10.9.1.1 --dns-forward 10.9.1.2 -4 -m 1500 -t none -u none"
            ),
            (
                ",hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-10.0.2.15:5353"
                    + ",hostfwd=:8.8.8.8:1-:2",
                "-a 10.0.2.15 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -m 1500 "
                    + "-t 2222:22 -t 8.8.8.8/1:2 -u 127.0.0.1/53:5353"
            ),
            (",ipv6=on", "-6 -m 1500 -t none -u none"),
            (
                ",ipv4=on,restrict=on,dnssearch=a.test,dnssearch=b.test",
                "-a 10.0.2.15 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -4 -m 1500 -S a.test b.test "
                    + "--no-tcp --no-udp --no-icmp -t none -u none"
            ),
            (
                ",ipv6=on,ipv6-prefix=fd00:9::",
                "-6 -a fd00:9::15 -g fd00:9::2 --dns-forward fd00:9::3 -m 1500 -t none -u none"
            ),
        ]
    )
    func maps(text: String, words: String) throws {
        #expect(try passt(text) == words)
        let parsed = try options(start + text)
        #expect(try NetdevOptions(parsed.arguments) == parsed)
    }

    @Test func listsAreTakenAsQAPIHasThem() throws {
        let json = """
            {"type": "user", "id": "u", "port": "vale0:up",
             "hostfwd": [{"str": "tcp::2222-:22"}, {"str": "udp::53-:53"}]}
            """
        #expect(try options(json) == options(start + ",hostfwd=tcp::2222-:22,hostfwd=udp::53-:53"))
        let wrong = json.replacing(#"{"str": "udp::53-:53"}"#, with: "7")
        #expect(refusal(wrong).contains("hostfwd[1]"))
    }

    @Test(
        "what passt cannot do is refused by its member's name",
        arguments: [
            ("hostname=x", "'hostname' cannot be had"), ("tftp=/x", "'tftp' cannot be had"),
            ("domainname=x", "use dnssearch"), ("smb=/x", "'smb' cannot be had"),
            ("bootfile=x", "'bootfile'"), ("guestfwd=tcp:10.0.2.9:80-cmd:x", "'guestfwd'"),
            ("restrict=on,hostfwd=::1-:2", "'restrict' cannot be had with 'hostfwd'"),
            ("hostfwd=tcp::22-10.0.2.16:22", "to be left out or 10.0.2.15"),
            ("ipv6-prefixlen=48", "64, which is what passt announces; not 48"),
        ]
    )
    func refuses(text: String, why: String) {
        #expect(refusal("\(start),\(text)").contains(why), "\(refusal("\(start),\(text)"))")
    }

    @Test(
        "nonsense is refused with what to write instead",
        arguments: [
            ("hostfwd=", "such as tcp::2222-:22"), ("hostfwd=tcp:2222-:22", "such as"),
            ("hostfwd=icmp::1-:1", "such as"), ("hostfwd=tcp::0-:22", "from 1 to 65535, not '0'"),
            ("hostfwd=tcp::65536-:22", "65535, not '65536'"), ("hostfwd=tcp::1-:x", "not 'x'"),
            ("hostfwd=tcp:host:1-:2", "IPv4 addresses, not 'host'"),
            ("hostfwd=tcp::1-:2-:3", "such as"), ("hostfwd", "such as"),
            ("net=10.0.2.0/33", "1 to 28 bits"), ("net=x", "a network such as 10.0.2.0/24"),
            ("net=10.0.2.0/255.0.255.0", "a network such as"), ("net=10.0.2.0/-1", "1 to 28"),
            ("host=10.0.3.2", "within 10.0.2.0/24, not '10.0.3.2'"),
            ("dns=10.0.2.255", "within"), ("dhcpstart=10.0.2.0", "within"),
            ("dhcpstart=10.0.2.2", "three addresses"), ("dns=name", "an IPv4 address, not 'name'"),
            ("ipv4=off,ipv6=off", "both off"), ("ipv6=on,net=10.0.2.0/24", "without IPv4"),
            ("ipv4=on,ipv6-dns=fd00::3", "without IPv6"), ("ipv6-host=x", "'ipv6-host'"),
            ("ipv6-prefix=10.0.0.0", "an IPv6 address"), ("mtu=100", "1280 to 65520"),
            ("dnssearch=a b", "domains, not 'a b'"),
            ("ifname=vale0:x", "Invalid parameter 'ifname'"),
        ]
    )
    func explains(text: String, why: String) {
        #expect(refusal("\(start),\(text)").contains(why), "\(refusal("\(start),\(text)"))")
    }
}

@Suite struct VdeOptionsTests {
    @Test func membersAreQemus() throws {
        let parsed = try options("vde,id=v,ifname=vale0:v,sock=/tmp/sw,port=3,group=root,mode=0660")
        guard case .vde(let vde) = parsed.backend else {
            Issue.record("\(parsed)")
            return
        }
        #expect(vde.directory == "/tmp/sw" && vde.port == 3 && vde.mode == 0o660)
        #expect(vde.group == "root" && !vde.isServer)
        #expect(try NetdevOptions(parsed.arguments) == parsed)
        let server = try options("vde,id=v,ifname=vale0:v,sock=/tmp/sw,server=on")
        #expect(try NetdevOptions(server.arguments) == server)
        #expect(server != parsed)
    }

    @Test(
        "nonsense is refused",
        arguments: [
            ("port=256", "0 (any) to 255, not 256"), ("port=vale0:x", "a whole number"),
            ("sock=sw", "absolute path"), ("server=on", "'sock' is missing"),
            ("server=on,sock=/tmp/x,port=1", "to be left out with server=on"),
            ("mode=01000", "such as 0700"), ("group=no-such-group", "a group of this system"),
            ("mode=0800", "a whole number, not '0800'"),
            ("sock=/" + String(repeating: "x", count: 85), "at most 85 bytes"),
        ]
    )
    func explains(text: String, why: String) {
        let message = refusal("vde,id=v,ifname=vale0:v,\(text)")
        #expect(message.contains(why), "\(message)")
    }
}

@Suite struct L2TPv3OptionsTests {
    private let start = "l2tpv3,id=t,port=vale0:t,src=192.0.2.1,dst=192.0.2.2"

    @Test func membersAreQemus() throws {
        let text =
            start + ",udp=on,srcport=6001,dstport=6002,txsession=0xffffffff,rxsession=7,cookie64=on"
            + ",txcookie=0x0123456789abcdef,rxcookie=0xfedcba9876543210,counter,offset=4"
        let parsed = try options(text)
        guard case .l2tpv3(let tunnel) = parsed.backend else {
            Issue.record("\(parsed)")
            return
        }
        #expect(tunnel.ports?.source == 6001 && tunnel.ports?.destination == 6002)
        #expect(tunnel.transmit == (0xffff_ffff, 0x0123_4567_89ab_cdef))
        #expect(tunnel.receive == (7, 0xfedc_ba98_7654_3210))
        #expect(tunnel.cookieSize == 8 && tunnel.counter == (true, false) && tunnel.padding == 4)
        #expect(try NetdevOptions(parsed.arguments) == parsed)
        guard case .l2tpv3(let plain) = try options(start + ",txsession=5").backend else { return }
        #expect(plain.receive.session == 5 && plain.cookieSize == 0 && plain.ports == nil)
    }

    @Test(
        "nonsense is refused",
        arguments: [
            ("", "'txsession' is missing"), ("txsession=0x100000000", "0 to 4294967295"),
            ("txsession=1,udp=on", "'srcport' is missing"),
            ("txsession=1,udp=on,srcport=1", "'dstport' is missing"),
            ("txsession=1,udp=on,srcport=x,dstport=1", "a UDP port from 1 to 65535, not 'x'"),
            ("txsession=1,srcport=1", "add udp=on"), ("txsession=1,pincounter", "add counter=on"),
            ("txsession=1,txcookie=0x100000000", "add cookie64=on"),
            ("txsession=1,cookie64=on", "without txcookie and rxcookie"),
            ("txsession=1,offset=1000", "0 to 200, not 1000"),
            ("txsession=1,ipv6=on", "an IPv6 address in numbers, not '192.0.2.1'"),
            ("txsession=1,src=fd00::1", "IPv6 needs ipv6=on"),
            ("txsession=1,dst=host", "not 'host'"),
            ("txsession=1,lossless=on", "cannot be had with 'l2tpv3'"),
        ]
    )
    func explains(text: String, why: String) {
        let message = refusal(text.isEmpty ? start : "\(start),\(text)")
        #expect(message.contains(why), "\(message)")
    }
}
