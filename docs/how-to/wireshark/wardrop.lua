-- What Wardrop writes into packets, for Wireshark and tshark: the label of a route, and the head of a request.
--
-- The label stands in the Ethernet destination between the first switch and the last:
--
--     02:57 : route number (16 bits) : status (16 bits)
--
-- Where packets go through functions, the first six bits are their stage, how many functions they have been through: 02:57
-- is stage 0, 06:57 stage 1. The status has a bit for each destination that the copy owes; 0 on a path, and as a packet enters a tree. A number
-- never changes its meaning, so it is the version too. On its way around a link that failed a packet has a VLAN tag, the
-- link's place in the network from 1. A request's payload begins with session, flow, number and time, in network order.

local REQUESTS = 7000 -- UDP port that sessions are sent to
local GATEWAY = "02:56:ff:ff:ff:fe"

local wardrop = Proto("wardrop", "Wardrop")
local shown = wardrop.fields
shown.stage = ProtoField.uint8("wardrop.stage", "Functions passed")
shown.route = ProtoField.uint16("wardrop.route", "Route number")
shown.status = ProtoField.uint16("wardrop.status", "Status", base.HEX)
shown.destination = ProtoField.uint8("wardrop.destination", "Owes destination")
shown.owes = ProtoField.string("wardrop.owes", "Owes")
shown.bypass = ProtoField.uint16("wardrop.bypass", "Around the link with number")
shown.gateway = ProtoField.bool("wardrop.gateway", "From a host, not yet labelled")
shown.session = ProtoField.uint16("wardrop.session", "Session")
shown.flow = ProtoField.uint16("wardrop.flow", "Flow")
shown.seq = ProtoField.uint32("wardrop.seq", "Sequence number in its session")
shown.sent = ProtoField.absolute_time("wardrop.sent", "Sent")

wardrop.prefs.members = Pref.string("Members", "", "Destinations by session, such as 0=X,Y 1=Denver,Houston")

local eth_dst, vlan = Field.new("eth.dst"), Field.new("vlan.id")
local port, payload = Field.new("udp.dstport"), Field.new("udp.payload")

-- Names of the destinations of a session, from 0 on; none where nobody said.
local function members(session)
    local names, count = {}, 0
    for number, list in wardrop.prefs.members:gmatch("(%d+)=(%S+)") do
        if tonumber(number) == session then
            for name in list:gmatch("[^,]+") do
                names[count], count = name, count + 1
            end
        end
    end
    return names
end

local function request(tree)
    local to, body = port(), payload()
    if not to or to.value ~= REQUESTS or body.len < 16 then return nil end
    local head = body.range
    tree:add(shown.session, head(0, 2))
    tree:add(shown.flow, head(2, 2))
    tree:add(shown.seq, head(4, 4))
    local ns = head(8, 8):uint64()
    tree:add(shown.sent, head(8, 8), NSTime.new((ns / 1000000000):tonumber(), (ns % 1000000000):tonumber()))
    return head(0, 2):uint()
end

local function label(tree, range, names, info)
    local status, stage = range(4, 2):uint(), bit.rshift(range(0, 1):uint(), 2)
    tree:add(shown.route, range(2, 2))
    tree:add(shown.stage, range(0, 1), stage)
    tree:add(shown.status, range(4, 2))
    local owes = {}
    for d = 0, 15 do
        if bit.band(status, bit.lshift(1, d)) ~= 0 then
            tree:add(shown.destination, range(4, 2), d)
            owes[#owes + 1] = names[d] or tostring(d)
        end
    end
    local text = "{" .. table.concat(owes, ",") .. "}"
    if #owes > 0 then tree:add(shown.owes, range(4, 2), text) end
    info:append(" [route " .. range(2, 2):uint() .. (stage > 0 and " stage " .. stage or "") .. (#owes > 0 and " owes " .. text or "") .. "]")
end

function wardrop.dissector(_, packet, root)
    local to, tag = eth_dst(), vlan()
    if not to then return end
    local range, address = to.range, tostring(to)
    local labelled = bit.band(range(0, 2):uint(), 0x03ff) == 0x0257
    if not labelled and not (port() and port().value == REQUESTS) then return end
    local tree = root:add(wardrop)
    local session = request(tree)
    if labelled then
        label(tree, range, session and members(session) or {}, packet.cols.info)
        if tag then
            tree:add(shown.bypass, tag.range, tag.value)
            packet.cols.info:append(" [around link " .. tag.value .. "]")
        end
    elseif address == GATEWAY then
        tree:add(shown.gateway, range, true)
    end
end

register_postdissector(wardrop)
