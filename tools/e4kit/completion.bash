# bash completion for e4kit
#
# Bash breaks words at colons; the words here are put together again from the
# line, and what stands before the last colon is cut off the answers.

_e4kit() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word='' quote='' c i
    local has=0
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        if [[ -n $quote ]]; then
            if [[ $c == "$quote" ]]; then quote=''; else word+=$c; fi
        elif [[ $c == "'" || $c == '"' ]]; then
            quote=$c has=1
        elif [[ $c == '\' ]]; then
            ((i++)); word+=${line:i:1} has=1
        elif [[ $c == [[:space:]] ]]; then
            if ((has)); then words+=("$word"); fi
            word='' has=0
        else
            word+=$c has=1
        fi
    done
    words+=("$word")

    local out then_do='' candidate
    COMPREPLY=()
    while IFS= read -r out; do
        case $out in
            :*) then_do=${out#:} ;;
            *) COMPREPLY+=("${out%%$'\t'*}") ;;
        esac
    done < <("${words[0]/#\~/$HOME}" __complete -- "${words[@]:1}" 2>/dev/null)

    local raw=${COMP_WORDS[COMP_CWORD]} cut=''
    if [[ -z $quote && $COMP_WORDBREAKS == *:* && $word == *:* ]]; then
        cut=${word%:*}:
    fi
    for i in "${!COMPREPLY[@]}"; do
        candidate=${COMPREPLY[i]#"$cut"}
        if [[ -z $quote ]]; then printf -v candidate %q "$candidate"; fi
        COMPREPLY[i]=$candidate
    done
    case $then_do in
        nospace) compopt -o nospace 2>/dev/null ;;
        files)
            compopt -o filenames -o default 2>/dev/null
            while IFS= read -r out; do COMPREPLY+=("$out"); done < <(compgen -f -- "$word")
            ;;
    esac
}

complete -F _e4kit e4kit
