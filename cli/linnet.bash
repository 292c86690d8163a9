# Completion of linnet for bash: commands, options, and the names of contacts, which are
# asked for from a node that runs already.

_linnet_contacts() {
    # The first column of what is not a terminal; names with odd characters are quoted.
    local name
    while IFS=$'\t' read -r name _; do
        [[ $name == "$1"* ]] && printf '%q\n' "$name"
    done < <(linnet "${_linnet_home[@]}" --no-start contacts 2>/dev/null)
}

_linnet_transfers() {
    # The first column of what is not a terminal.
    linnet "${_linnet_home[@]}" --no-start transfers 2>/dev/null | cut -f 1
}

_linnet_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_linnet() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' words=0 i
    local -a _linnet_home=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --home)
            _linnet_home=(--home "${COMP_WORDS[i + 1]}")
            ((i++))
            ;;
        -*) ;;
        *)
            if [[ -z $command ]]; then
                command=${COMP_WORDS[i]}
            else
                ((words++))
            fi
            ;;
        esac
    done
    case $prev in
    --home) mapfile -t COMPREPLY < <(compgen -d -- "$cur") && return ;;
    --from | --as) mapfile -t COMPREPLY < <(_linnet_contacts "$cur") && return ;;
    --file | -f)
        [[ $command == send ]] && mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return
        ;;
    --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
    --wait) _linnet_words 'sent stored delivered read' "$cur" && return ;;
    --scope) _linnet_words 'lan internet' "$cur" && return ;;
    --format) _linnet_words 'jsonl md' "$cur" && return ;;
    esac
    if [[ $cur == -* ]]; then
        local options='--help --home --json --no-start'
        case $command in
        daemon) options+=' --scope --port --peer --bootstrap --name --network --network-secret-fd
            --passphrase-fd' ;;
        passphrase) options+=' --passphrase-fd' ;;
        id) options+=' --qr' ;;
        invite) options+=' --qr --expires --addr' ;;
        add) options+=' --as --message' ;;
        requests) options+=' --as --block --blocked' ;;
        verify) options+=' --yes --code' ;;
        send) options+=' --file --name --reply --wait --timeout' ;;
        contact) options+=' --max --quota' ;;
        transfers) options+=' --all --output' ;;
        react) options+=' --remove' ;;
        dht) options+=' --key --salt --hex --mutable --seed-fd --seq --cas --bencoded --port
            --listen --bootstrap --rate' ;;
        recv) options+=' --follow --from --file --output' ;;
        history) options+=' --number --since' ;;
        search) options+=' --number' ;;
        export) options+=' --format' ;;
        events) options+=' --since' ;;
        nearby) options+=' --watch' ;;
        visible) options+=' --stay' ;;
        esac
        _linnet_words "$options" "$cur"
        return
    fi
    case $command:$words in
    :*)
        _linnet_words 'add away busy config contact contacts daemon dht edit events export history id
            invisible invite live nearby online passphrase react read recv redact requests search send
            status stop transfers verify visible' "$cur"
        ;;
    contact:0) _linnet_words 'rename block unblock remove files' "$cur" ;;
    contact:2)
        [[ " ${COMP_WORDS[*]} " == *' files '* ]] &&
            _linnet_words 'ask always never default' "$cur"
        ;;
    transfers:0) _linnet_words 'show accept decline pause resume cancel limit' "$cur" ;;
    transfers:*) _linnet_words "$(_linnet_transfers)" "$cur" ;;
    invite:0) _linnet_words 'ls revoke' "$cur" ;;
    requests:0) _linnet_words 'accept deny unblock' "$cur" ;;
    visible:0) _linnet_words 'on off' "$cur" ;;
    dht:0) _linnet_words 'announce find get peers ping put serve stats' "$cur" ;;
    config:0) _linnet_words 'get set path' "$cur" ;;
    config:1) _linnet_words 'name interfaces subnets peer bootstrap scope port log_level away_after network
        network-secret-file accept accept_max accept_quota downloads limit_rate' "$cur" ;;
    live:1) _linnet_words 'on off' "$cur" ;;
    live:0 | send:0 | read:0 | history:0 | verify:0 | export:0 | contact:1)
        mapfile -t COMPREPLY < <(_linnet_contacts "$cur")
        ;;
    esac
}

complete -F _linnet linnet
